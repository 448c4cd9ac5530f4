// A checker that requests a reschedule itself, for guests in which one call of a function has several preemption points:
// included after kernel_ftrace.S, by a guest that has defined KTHREAD as insistent_checker before kernel.S.

WORD resched_again, 0				// how often the checker requests another reschedule

// RESCHED times: the tracer's next unlock lets the checker run, and so does each of the following ones.
.macro RESCHED times
	lla	t3, need_resched
	li	t4, 1
	sd	t4, 0(t3)
	lla	t3, resched_again
	li	t4, \times - 1
	sd	t4, 0(t3)
.endm

// As checker, but requests a reschedule as often as set.
FUNC insistent_checker
						// CFA=sp RA=ra
	ENTER	16
1:	lla	a0, task_boot
	call	walk_task
	lla	t0, resched_again
	ld	t1, 0(t0)
	beqz	t1, 2f
	addi	t1, t1, -1
	sd	t1, 0(t0)
	lla	t0, need_resched
	li	t1, 1
	sd	t1, 0(t0)
2:	call	schedule
	j	1b
END insistent_checker
