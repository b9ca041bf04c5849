/* The self-test of an emitted model on an ATmega2560: prints how it went and sleeps for good. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

#include "model.h"

static uint8_t scratch[MODEL_SCRATCH_BYTES];

static void put(char letter)
{
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = (uint8_t)letter;
}

int main(void)
{
    const int32_t failing = model_selftest(scratch, sizeof scratch);
    const char *word = failing == -1 ? "whole" : "broken";
    UCSR0B = 1 << TXEN0;
    while (*word) {
        put(*word++);
    }
    put('\n');
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}
