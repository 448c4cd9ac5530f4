// An interrupt asks for a reschedule, and the task is switched out at the end of that interrupt: the interrupted
// instruction lies below irqentry_exit and schedule on a stack that sleeps, where the checker walks it.
//@ start none
#include "kernel.S"
#include "kernel_body.S"
