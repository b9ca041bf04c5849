/* The decoder without a C library: built with -nostdlib, it decodes the file in sample.h and
 * exits 0 if every tensor came back. */
#include "dcf.h"

#include "sample.h" /* SAMPLE, SAMPLE_BYTES: written by test_c_core.py */

static uint8_t workspace[8192];
static uint8_t numbers[32768];

static int decode_all(void)
{
    dcf_model model;
    dcf_tensor t;
    uint32_t failing;
    uint32_t i;
    if (dcf_open(&model, SAMPLE, SAMPLE_BYTES) != DCF_OK) {
        return 1;
    }
    for (i = 0; i < model.tensors; i++) {
        const dcf_size most = sizeof numbers;
        if (dcf_tensor_at(&model, i, &t) != DCF_OK || t.elements * t.width > most ||
            dcf_prepare(&t, workspace, sizeof workspace) != DCF_OK ||
            dcf_decode(&t, numbers, sizeof numbers) != DCF_OK ||
            dcf_crc(0, numbers, t.elements * t.width) != t.crc) {
            return 2;
        }
    }
    return dcf_check(&model, workspace, sizeof workspace, &failing) == DCF_OK ? 0 : 3;
}

static void leave(int code)
{
#if defined(__x86_64__)
    __asm__ volatile("syscall" : : "a"(60L), "D"((long)code) : "rcx", "r11", "memory");
#elif defined(__i386__)
    __asm__ volatile("int $0x80" : : "a"(1), "b"(code) : "memory");
#elif defined(__aarch64__)
    register long x0 __asm__("x0") = code;
    register long x8 __asm__("x8") = 93;
    __asm__ volatile("svc 0" : : "r"(x0), "r"(x8) : "memory");
#else
#error "no way to exit on this machine"
#endif
    for (;;) {
    }
}

void start(void);

void start(void)
{
    leave(decode_all());
}

/* The stack is aligned here as in a function that was called. */
__asm__(".globl _start\n_start:\n"
#if defined(__x86_64__)
        "and $-16, %rsp\n call start\n"
#elif defined(__i386__)
        "and $-16, %esp\n call start\n"
#elif defined(__aarch64__)
        "bl start\n"
#endif
);
