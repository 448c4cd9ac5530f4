// The same as irq_on_task, for exceptions that have a stack of their own: NMI, debug and double fault may come at any
// instruction, also of another entry. What leads back is the rsp in the pt_regs at the top of that stack.
//@ start none
#include "kernel.S"
#include "kernel_body.S"
