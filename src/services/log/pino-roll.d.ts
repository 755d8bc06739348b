declare module "pino-roll" {
	import type { DestinationStream } from "pino";

	/** Source: pino-roll's README. */
	export default function roll(options: {
		file: string;
		frequency?: "daily" | "weekly" | "hourly";
		mkdir?: boolean;
		sync?: boolean;
		symlink?: boolean;
		limit?: { count: number };
	}): Promise<DestinationStream>;
}
