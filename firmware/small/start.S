/* Start of the firmware, in the flash: copies what runs from RAM, then goes there. Reading the flash
 * at two places in turns is slow, so what copies is copied first. */
    .section .start, "ax", @progbits
    .globl _start
_start:
    la a0, copy
    la a1, copy_end
    la a2, stack_top - 64
    mv a3, a2
1:  lw t0, 0(a0)
    sw t0, 0(a2)
    addi a0, a0, 4
    addi a2, a2, 4
    bltu a0, a1, 1b
    la a0, ram_image
    la a1, ram_begin
    la a2, ram_loaded
    la a4, ram_end
    la ra, run
    jr a3

    /* a0: first word in the flash; a1: its place in RAM; a2: behind the last one; from there up to a4
     * zeros; then to ra. All places are of words, so each is in front of its end or at it. */
copy:
    bgeu a1, a2, 2f
    lw t0, 0(a0)
    sw t0, 0(a1)
    addi a0, a0, 4
    addi a1, a1, 4
    j copy
2:  bgeu a1, a4, 3f
    sw zero, 0(a1)
    addi a1, a1, 4
    j 2b
3:  ret
copy_end:

    .text
run:
    la sp, stack_top
    call main
4:  j 4b
