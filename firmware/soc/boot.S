/* What the processor runs after reset, out of block RAM. */
    .section .start, "ax", @progbits
    .globl _start
_start:
    la sp, boot_stack_top
    call boot
    j _start
