/* Flash of an AVR is not memory: how its bytes are read. */
#include <avr/pgmspace.h>
#define DCF_READ8(p) pgm_read_byte(p)
#define DCF_PROGMEM PROGMEM
