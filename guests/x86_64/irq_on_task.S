// Interrupts on the task stack, whose handler runs on the IRQ stack: the word at the top of the IRQ stack, frame records
// and pt_regs lead back.
//@ start none
#include "kernel.S"
#include "kernel_body.S"
