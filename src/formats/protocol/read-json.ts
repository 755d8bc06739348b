import { foreignWords } from "../foreign-words.ts";
import { isCount } from "../json.ts";
import type { LogIdentity, Position } from "../redolog/position.ts";

/** Readers of what the other server has sent: each throws for anything but what its name says. */

/** A value that is none of these, in a few words. */
export const shown = (value: unknown): string =>
	foreignWords(JSON.stringify(value) ?? "nothing", 100);

export function count(value: unknown): number {
	if (isCount(value)) return value;
	throw new Error(`${shown(value)} is not a count`);
}

/** Text for people, or to compare: made plain, and cut. */
export function text(value: unknown): string {
	if (typeof value === "string") return foreignWords(value);
	throw new Error(`${shown(value)} is not text`);
}

/** Text that names something; cleaned, it would name something else. */
export const isPlain = (value: unknown): value is string =>
	typeof value === "string" && foreignWords(value, 4096) === value;

export function fields(value: unknown): Record<string, unknown> {
	if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
	throw new Error(`${shown(value)} has no fields`);
}

export function position(value: unknown): Position {
	const { sequence, offset } = fields(value);
	return { sequence: count(sequence), offset: count(offset) };
}

export function identity(value: unknown): LogIdentity {
	const { serverId, sequence, createTime, timeline } = fields(value);
	return {
		serverId: text(serverId),
		sequence: count(sequence),
		createTime: count(createTime),
		timeline: count(timeline),
	};
}

/** A position, with all that tells the file. */
export const logPosition = (value: unknown): Position & LogIdentity => ({
	...identity(value),
	...position(value),
});
