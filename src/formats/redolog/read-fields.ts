import { type ByteSource, Cursor } from "./cursor.ts";
import type { Field } from "./fields.ts";
import { operations } from "./layouts.ts";
import { compile, Findings, run, type Sink } from "./program.ts";
import type { Body, LogRecord } from "./record.ts";

/** Numbers of 8 bytes that a number cannot hold exactly come as bigint. */
export type FieldValue = number | string | boolean | bigint | Body | null | Fields | Fields[];
export type Fields = { [name: string]: FieldValue };

/** The common part; 4 bytes less before version 1.26. */
const headSize = 46;

/**
 * The fields of a record by name, as layouts.ts names them, for showing to people. Strings are cut
 * at 4096 bytes and lists at 1000 entries; bodies are told by place and length. Gives no fields if
 * the bytes are no longer what `record` says. Throws what the source throws.
 */
export function readFields(source: ByteSource, record: LogRecord): Fields {
	const operation = operations.get(record.opcode);
	const layout = operation?.layouts.find(
		(one) => (one.writer ?? operation.name) === record.name && fits(source, record, one.fields),
	);
	if (layout === undefined) return {};
	const builder = new FieldBuilder();
	const program = compile(layout.fields, record.version.minor, true);
	run(program, cursorOver(source, record), new Findings(), builder);
	return builder.fields;
}

function cursorOver(source: ByteSource, record: LogRecord): Cursor {
	const head = record.version.minor >= 26 ? headSize : headSize - 4;
	return new Cursor(source, record.offset + head, record.offset + record.length, 0);
}

/** Where one number and version has two layouts, the length tells which it is. */
function fits(source: ByteSource, record: LogRecord, fields: readonly Field[]): boolean {
	const cursor = cursorOver(source, record);
	try {
		run(compile(fields, record.version.minor), cursor, new Findings());
	} catch {
		return false;
	}
	return cursor.position === record.offset + record.length;
}

class FieldBuilder implements Sink {
	readonly fields: Fields = {};
	readonly #open: { into: Fields; list?: Fields[] }[] = [{ into: this.fields }];

	value(name: string, value: Exclude<FieldValue, Fields | Fields[]>): void {
		const exact =
			typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;
		this.#top().into[name] = exact;
	}

	open(name: string, kind: "group" | "list"): void {
		const group: Fields = {};
		const list: Fields[] = [];
		this.#top().into[name] = kind === "group" ? group : list;
		this.#open.push(kind === "group" ? { into: group } : { into: group, list });
	}

	entry(): void {
		const into: Fields = {};
		const top = this.#top();
		top.list?.push(into);
		top.into = into;
	}

	close(): void {
		this.#open.pop();
	}

	#top(): { into: Fields; list?: Fields[] } {
		return this.#open.at(-1) ?? { into: this.fields };
	}
}
