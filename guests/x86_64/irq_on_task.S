// Interrupts on the task stack, whose handler runs on the IRQ stack: the word at the top of the IRQ stack, frame records
// and pt_regs lead back.
//@ start none
//@ build irq_on_task: -DUNWINDER_FRAME_POINTER
//@ build irq_on_task-orc: -DUNWINDER_ORC
#include "kernel.S"
#include "kernel_body.S"
