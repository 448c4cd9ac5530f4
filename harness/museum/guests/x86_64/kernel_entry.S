//@ start none
//@ build kernel_entry-save_ret: -DUNWINDER_ORC -DBUG_SAVE_RET
//@ build kernel_entry-no_signal: -DUNWINDER_ORC -DBUG_NO_SIGNAL
// The small kernel with bugs in its entry code, or in the hints for it. irq_on_task-orc is the same without them.
#include "x86_64/irq_on_task.S"
