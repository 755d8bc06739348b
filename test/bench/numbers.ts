/** How many of each is measured: all, or few with --quick. */
export type Size = "whole" | "quick";

export type Say = (line: string) => void;

export function quantile(numbers: readonly number[], part: number): number {
	const sorted = numbers.toSorted((one, other) => one - other);
	return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export const median = (numbers: readonly number[]): number => quantile(numbers, 0.5);

/** `median 1.2, 95% 3.4, max 5.6`, in the unit of the numbers. */
export function spread(numbers: readonly number[]): string {
	const parts: [string, number][] = [
		["median", 0.5],
		["95%", 0.95],
		["max", 1],
	];
	return parts.map(([name, part]) => `${name} ${short(quantile(numbers, part))}`).join(", ");
}

/** Three digits that mean something. */
export const short = (number: number): string =>
	Number(number.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 2 });

export const megabytes = (bytes: number): number => bytes / 1e6;

/** ms on the clock that all processes of this machine share. */
export const clock = (): number => Number(process.hrtime.bigint()) / 1e6;
