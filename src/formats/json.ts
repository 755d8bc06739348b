/** What every reader of JSON asks of a value whose shape nobody vouches for. */

export const isRecord = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);

export const isTextIn = <T extends string>(texts: readonly T[], value: unknown): value is T =>
	(texts as readonly unknown[]).includes(value);

/** A whole number from 0 on: sizes, sequences, times in ms. */
export const isCount = (value: unknown): value is number =>
	typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** The value that a text is, or undefined where it is no JSON. */
export function parseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
