import { type Cursor, Malformed } from "./cursor.ts";
import { type Field, longestString, type Scalar, scalarSize } from "./fields.ts";
import type { Body } from "./record.ts";

/**
 * A layout made ready for one record version: fields that do not exist in it are gone, and runs of
 * fields of fixed size are one step. A walk takes ten million of these steps a second.
 */
export type Program = readonly Step[];

type Step =
	| { readonly do: "skip"; readonly size: number }
	| { readonly do: "scalar"; readonly name: string; readonly type: Scalar }
	/** a single id of old records; a list follows later unless it is above 0 */
	| { readonly do: "single"; readonly name: string }
	| { readonly do: "string"; readonly name: string }
	| { readonly do: "keyed"; readonly name: string }
	| { readonly do: "body"; readonly name: string; readonly mayBeNegative: boolean }
	| { readonly do: "content"; readonly name: string }
	| { readonly do: "optional"; readonly name: string; readonly steps: Program }
	| {
			readonly do: "list";
			readonly name: string;
			readonly short: boolean;
			readonly steps: Program;
			/** bytes of an entry, where all entries have the same; else 0 */
			readonly entry: number;
			readonly most: number;
			readonly unlessSingle: boolean;
	  };

/** What a record may tell beyond its length. One object is used for a whole walk. */
export class Findings {
	/** the last body, and whether the content was a link instead */
	body: Body | undefined = undefined;
	link = false;
	pathAt = -1;
	pathLength = 0;
	accountAt = -1;
	accountLength = 0;
	/** the list `active` of a checkpoint: where its entries stand */
	activeAt = -1;
	activeCount = 0;
	/** a single id was not above 0 */
	listed = false;

	clear(): void {
		this.body = undefined;
		this.link = false;
		this.pathAt = -1;
		this.accountAt = -1;
		this.activeAt = -1;
		this.activeCount = 0;
		this.listed = false;
	}
}

/** Gets the values of named fields, in order; only a program made with `named` tells all of them. */
export type Sink = {
	value(name: string, value: number | string | boolean | bigint | Body | null): void;
	open(name: string, kind: "group" | "list"): void;
	entry(): void;
	close(): void;
};

/** The program of a layout for records of version 1.`minor`. `named` keeps each field a step of its own. */
export function compile(fields: readonly Field[], minor: number, named = false): Program {
	const singles = new Set(
		fields.flatMap((field) => (field.type === "list" ? (field.unless ?? []) : [])),
	);
	const steps: Step[] = [];
	for (const field of fields) {
		if (minor < (field.since ?? 0) || minor >= (field.before ?? Number.POSITIVE_INFINITY)) continue;
		const step = toStep(field, minor, named, singles.has(field.name));
		const last = steps.at(-1);
		if (step.do === "skip" && last?.do === "skip")
			steps[steps.length - 1] = { do: "skip", size: last.size + step.size };
		else steps.push(step);
	}
	return steps;
}

function toStep(field: Field, minor: number, named: boolean, single: boolean): Step {
	const { name } = field;
	switch (field.type) {
		case "string":
		case "keyed":
		case "content":
			return { do: field.type, name };
		case "body":
		case "data":
			return { do: "body", name, mayBeNegative: field.type === "data" };
		case "optional":
			return { do: "optional", name, steps: compile(field.fields, minor, named) };
		case "list": {
			const plain = compile(field.fields, minor);
			const [only] = plain;
			const entry = plain.length === 1 && only?.do === "skip" ? only.size : (field.bytes ?? 0);
			return {
				do: "list",
				name,
				short: field.count === "i16",
				steps: named ? compile(field.fields, minor, true) : plain,
				entry,
				most: field.most ?? Number.POSITIVE_INFINITY,
				unlessSingle: field.unless !== undefined,
			};
		}
		default:
			if (single) return { do: "single", name };
			if (named) return { do: "scalar", name, type: field.type };
			return { do: "skip", size: scalarSize[field.type] };
	}
}

/**
 * Moves the cursor over the fields of a record.
 * Throws CutShort where the bytes end before the fields, {@link Malformed} where they cannot
 * be such fields.
 */
export function run(program: Program, cursor: Cursor, found: Findings, sink?: Sink): void {
	for (const step of program) {
		switch (step.do) {
			case "skip":
				cursor.skip(step.size);
				break;
			case "scalar":
				sink?.value(step.name, scalar(cursor, step.type));
				break;
			case "single": {
				const value = cursor.i32();
				if (value <= 0) found.listed = true;
				sink?.value(step.name, value);
				break;
			}
			case "string":
				string(step.name, cursor, found, sink);
				break;
			case "keyed":
				if (string(step.name, cursor, found, sink))
					string(`${step.name}Value`, cursor, found, sink);
				break;
			case "body":
				bodyOf(step, cursor, found, sink);
				break;
			case "content":
				if (cursor.i8() === 1)
					bodyOf({ name: step.name, mayBeNegative: false }, cursor, found, sink);
				else {
					found.link = true;
					cursor.skip(2);
				}
				break;
			case "optional":
				if (cursor.i8() === 0) break;
				sink?.open(step.name, "group");
				run(step.steps, cursor, found, sink);
				sink?.close();
				break;
			case "list":
				if (!step.unlessSingle || found.listed) list(step, cursor, found, sink);
				break;
		}
	}
}

function scalar(cursor: Cursor, type: Scalar): number | boolean | bigint {
	switch (type) {
		case "bool":
			return cursor.i8() !== 0;
		case "i8":
			return cursor.i8();
		case "i16":
			return cursor.i16();
		case "i32":
			return cursor.i32();
		case "i64":
			return cursor.big64();
	}
}

/** How much of a long string is told to a sink. */
const toldOfString = 4096;

/** Gives false for null. */
function string(name: string, cursor: Cursor, found: Findings, sink: Sink | undefined): boolean {
	const length = cursor.i32();
	if (length === -1) {
		sink?.value(name, null);
		return false;
	}
	if (length < 0 || length > longestString) throw new Malformed(`a string of ${length} bytes`);
	if (name === "path") {
		found.pathAt = cursor.position;
		found.pathLength = length;
	} else if (name === "account") {
		found.accountAt = cursor.position;
		found.accountLength = length;
	}
	if (sink === undefined) cursor.skip(length);
	else {
		const told = Math.min(length, toldOfString);
		sink.value(name, cursor.text(told));
		cursor.skip(length - told);
	}
	return true;
}

function bodyOf(
	step: { readonly name: string; readonly mayBeNegative: boolean },
	cursor: Cursor,
	found: Findings,
	sink: Sink | undefined,
): void {
	const length = cursor.i32();
	if (length < 0 && !step.mayBeNegative) throw new Malformed(`a body of ${length} bytes`);
	if (length <= 0 && step.mayBeNegative) return;
	found.body = { offset: cursor.position, length };
	cursor.skip(length);
	sink?.value(step.name, found.body);
}

/** How many entries of a list are told to a sink. */
const toldOfList = 1000;

function list(
	step: Extract<Step, { do: "list" }>,
	cursor: Cursor,
	found: Findings,
	sink: Sink | undefined,
): void {
	const count = step.short ? cursor.i16() : cursor.i32();
	if (count > step.most) throw new Malformed(`a list of ${count} entries`);
	if (step.name === "active") {
		found.activeAt = cursor.position;
		found.activeCount = count;
	}
	const told = sink === undefined ? 0 : Math.min(count, toldOfList);
	if (step.entry > 0 && (sink === undefined || step.steps.length === 0)) {
		if (count > 0) cursor.skip(count * step.entry);
		return;
	}
	sink?.open(step.name, "list");
	// Each entry takes at least a byte, so that a count without bytes behind it ends at the limit.
	for (let i = 0; i < count; i++) {
		if (i < told) sink?.entry();
		run(step.steps, cursor, found, i < told ? sink : undefined);
	}
	sink?.close();
}
