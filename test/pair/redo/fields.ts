import { Buffer } from "node:buffer";

/**
 * One description of a record's fields serves for reading and for writing: a layout calls these
 * methods in the order in which the fields stand in the file; the reader fills `values` from bytes,
 * the writer makes bytes from `values`. Each method returns the value, so that a layout can depend on it.
 * Big endian, as Java's DataOutput writes; a text is its length (-1 for null) and UTF-8.
 */
export interface Fields {
	readonly values: Values;
	byte(name: string): number;
	short(name: string): number;
	int(name: string): number;
	long(name: string): number;
	flag(name: string): boolean;
	text(name: string): string | null;
	/** a count, -1 for null, and that many texts */
	texts(name: string): void;
	/** that many elements; the count itself is a field of its own */
	list(name: string, count: "int" | "short", each: (element: Fields) => void): void;
	/** an int with the length, then the bytes, which end the record */
	body(name: string): void;
}

export type Value =
	| number
	| string
	| boolean
	| null
	| Buffer
	| readonly (string | null)[]
	| Values[];
export type Values = { [name: string]: Value };

/** A text among the values; throws for anything else. */
export function textIn(values: Values, name: string): string {
	const value = values[name];
	if (typeof value !== "string") throw new TypeError(`${name} is no text`);
	return value;
}

export function numberIn(values: Values, name: string): number {
	const value = values[name];
	if (typeof value !== "number") throw new TypeError(`${name} is no number`);
	return value;
}

/** The bytes end inside of a record: Java's EOFException. */
export class EndOfLog extends Error {}

/** Bytes that cannot be a record: Java's IOException. A reader looks for the next record. */
export class BadBytes extends Error {}

/** What Zimbra's reader does not survive: a runtime exception, which drops the rest of the file. */
export class ReaderDies extends Error {}

const longestText = 32 * 1024 * 1024; // ByteUtil.MAX_STRING_LEN

/** Gives the next `length` bytes, or throws {@link EndOfLog}. */
export type TakeBytes = (length: number) => Buffer;

export class FieldReader implements Fields {
	readonly values: Values = {};
	readonly #take: TakeBytes;

	constructor(take: TakeBytes) {
		this.#take = take;
	}

	byte(name: string): number {
		return this.#keep(name, this.#take(1).readInt8());
	}

	short(name: string): number {
		return this.#keep(name, this.#take(2).readInt16BE());
	}

	int(name: string): number {
		return this.#keep(name, this.#take(4).readInt32BE());
	}

	long(name: string): number {
		return this.#keep(name, Number(this.#take(8).readBigInt64BE()));
	}

	flag(name: string): boolean {
		return this.#keep(name, this.#take(1).readInt8() !== 0);
	}

	text(name: string): string | null {
		return this.#keep(name, this.#text());
	}

	texts(name: string): void {
		const count = this.#take(4).readInt32BE();
		this.#keep(name, count < 0 ? null : Array.from({ length: count }, () => this.#text()));
	}

	list(name: string, count: "int" | "short", each: (element: Fields) => void): void {
		const length = count === "int" ? this.#take(4).readInt32BE() : this.#take(2).readInt16BE();
		const elements: Values[] = [];
		for (let i = 0; i < length; i++) {
			const element = new FieldReader(this.#take);
			each(element);
			elements.push(element.values);
		}
		this.#keep(name, elements);
	}

	body(name: string): void {
		const length = this.#take(4).readInt32BE();
		if (length < 0) throw new ReaderDies(`NegativeArraySizeException: ${length}`);
		this.#keep(name, this.#take(length));
	}

	#text(): string | null {
		const length = this.#take(4).readInt32BE();
		if (length === -1) return null;
		if (length < 0 || length > longestText) throw new BadBytes(`text of ${length} bytes`);
		return this.#take(length).toString("utf8");
	}

	#keep<V extends Value>(name: string, value: V): V {
		this.values[name] = value;
		return value;
	}
}

export class FieldWriter implements Fields {
	readonly values: Values;
	readonly #pieces: Buffer[];
	/** the bytes that follow all fields; written by pieces of their own */
	end: Buffer | undefined;

	constructor(values: Values, pieces: Buffer[] = []) {
		this.values = values;
		this.#pieces = pieces;
	}

	bytes(): Buffer {
		return Buffer.concat(this.#pieces);
	}

	byte(name: string): number {
		return this.#number(name, 1, (buffer, value) => buffer.writeInt8(value));
	}

	short(name: string): number {
		return this.#number(name, 2, (buffer, value) => buffer.writeInt16BE(value));
	}

	int(name: string): number {
		return this.#number(name, 4, (buffer, value) => buffer.writeInt32BE(value));
	}

	long(name: string): number {
		return this.#number(name, 8, (buffer, value) => buffer.writeBigInt64BE(BigInt(value)));
	}

	flag(name: string): boolean {
		const value = this.values[name] === true;
		this.#pieces.push(Buffer.of(value ? 1 : 0));
		return value;
	}

	text(name: string): string | null {
		const value = this.values[name] ?? null;
		if (value !== null && typeof value !== "string") throw new TypeError(`${name} is no text`);
		this.#text(value);
		return value;
	}

	texts(name: string): void {
		const value = this.values[name] ?? null;
		this.#int(Array.isArray(value) ? value.length : -1);
		if (Array.isArray(value))
			for (const each of value) this.#text(each as unknown as string | null);
	}

	list(name: string, count: "int" | "short", each: (element: Fields) => void): void {
		const elements = (this.values[name] ?? []) as Values[];
		if (count === "int") this.#int(elements.length);
		else this.#pieces.push(number(2, elements.length, (b, v) => b.writeInt16BE(v)));
		for (const element of elements) each(new FieldWriter(element, this.#pieces));
	}

	body(name: string): void {
		const value = this.values[name];
		if (!Buffer.isBuffer(value)) throw new TypeError(`${name} is no buffer`);
		this.#int(value.length);
		this.end = value;
	}

	#number(name: string, size: number, write: (b: Buffer, value: number) => void): number {
		const value = numberIn(this.values, name);
		this.#pieces.push(number(size, value, write));
		return value;
	}

	#int(value: number): void {
		this.#pieces.push(number(4, value, (buffer, each) => buffer.writeInt32BE(each)));
	}

	#text(value: string | null): void {
		this.#int(value === null ? -1 : Buffer.byteLength(value));
		if (value !== null) this.#pieces.push(Buffer.from(value));
	}
}

function number(size: number, value: number, write: (b: Buffer, value: number) => void): Buffer {
	const buffer = Buffer.alloc(size);
	write(buffer, value);
	return buffer;
}
