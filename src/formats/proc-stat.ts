/** What /proc/PID/stat tells of a process. Source: proc(5). */
export type ProcessStat = {
	/** of the executable, cut to 15 bytes */
	readonly name: string;
	readonly parent: number;
	/**
	 * A zombie has ended; but not one whose other threads are still there: they may be waiting for a
	 * disk, and write when it answers.
	 */
	readonly alive: boolean;
	/** its first thread has ended, and with that its words and its environment are gone for good */
	readonly ended: boolean;
	/** a thread of the kernel's own */
	readonly kernel: boolean;
	/** clock ticks since boot */
	readonly startTime: number;
	/** of the process and of its children that were waited for, in clock ticks */
	readonly cpuTime: number;
	/**
	 * Bytes of these files of the process. Undefined where that is hidden from us, and in the moment in
	 * which it becomes another program: then the files are empty.
	 */
	readonly sizes: Readonly<Record<"cmdline" | "environ", number | undefined>>;
};

/** Source: linux, include/linux/sched.h, PF_KTHREAD. */
const kernelThread = 0x0020_0000;

/** @param text the file's one line */
export function parseStat(text: string): ProcessStat {
	// The name in parentheses may hold blanks and parentheses itself. Field 3, the state, follows it.
	const close = text.lastIndexOf(")");
	const fields = text.slice(close + 2).split(" ");
	const field = (number: number) => Number(fields[number - 3]);
	// Where its code ends is noted last. Before that both ends of the environment are the same for a moment.
	// Source: linux, fs/binfmt_elf.c, load_elf_binary and create_elf_tables.
	const loaded = field(27) > 0;
	const size = (start: number, end: number) => (loaded && end > 0 ? end - start : undefined);
	const ended = fields[0] === "Z" || fields[0] === "X";
	return {
		name: text.slice(text.indexOf("(") + 1, close),
		parent: field(4),
		alive: !ended || field(20) > 1,
		ended,
		kernel: (field(9) & kernelThread) !== 0,
		startTime: field(22),
		cpuTime: field(14) + field(15) + field(16) + field(17),
		sizes: { cmdline: size(field(48), field(49)), environ: size(field(50), field(51)) },
	};
}
