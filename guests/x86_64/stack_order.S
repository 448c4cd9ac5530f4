// The same as irq_on_task: the scenario lays the stacks out in other orders, so that a walk cannot tell by the addresses which
// stack comes next.
//@ start none
#include "kernel.S"
#include "kernel_body.S"
