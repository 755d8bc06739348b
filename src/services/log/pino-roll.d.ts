declare module "pino-roll" {
	import type { destination } from "pino";

	/** Source: pino-roll's README. */
	export default function roll(options: {
		file: string;
		frequency?: "daily" | "hourly";
		dateFormat?: string;
		mkdir?: boolean;
		sync?: boolean;
		maxLength?: number;
		symlink?: boolean;
		limit?: { count: number; removeOtherLogFiles?: boolean };
	}): Promise<ReturnType<typeof destination>>;
}
