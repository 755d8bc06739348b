/**
 * The words in which a record's layout is written, see layouts.ts. All numbers are big endian.
 * Source: zm-mailbox, com.zimbra.cs.redolog.RedoLogInput, com.zimbra.common.util.ByteUtil.
 */

export type Scalar = "bool" | "i8" | "i16" | "i32" | "i64";

/** How many bytes a scalar takes. */
export const scalarSize: Readonly<Record<Scalar, number>> = {
	bool: 1,
	i8: 1,
	i16: 2,
	i32: 4,
	i64: 8,
};

/** A string that claims more bytes than this is refused by Zimbra's reader, and so by ours. */
export const longestString = 32 * 1024 * 1024;

/** Written only by record versions 1.`since` and later, or before 1.`before`. */
type Lifetime = { readonly since?: number; readonly before?: number };

/**
 * - `string`: length (i32, -1 = null), UTF-8
 * - `keyed`: a string, and if it is not null a second one
 * - `body`: length (i32), that many bytes; a negative length is an error
 * - `data`: the same, but a negative length means none
 * - `content`: 1 byte; 1 = a body follows, else 2 bytes that say nothing: the body is that of the
 *   StoreIncomingBlob record whose path stands before
 * - `optional`: a boolean, and the fields if it is true
 * - `list`: a count, and that many times the fields, or that many times `bytes` bytes; there only if
 *   one of the fields named by `unless` is not above 0 (the single id of old records)
 */
export type Field = Lifetime & { readonly name: string } & (
		| { readonly type: Scalar | "string" | "keyed" | "body" | "data" | "content" }
		| { readonly type: "optional"; readonly fields: readonly Field[] }
		| {
				readonly type: "list";
				readonly count: "i16" | "i32";
				readonly fields: readonly Field[];
				readonly bytes?: number;
				readonly most?: number;
				readonly unless?: readonly string[];
		  }
	);

export const bool = (name: string): Field => ({ name, type: "bool" });
export const i8 = (name: string): Field => ({ name, type: "i8" });
export const i16 = (name: string): Field => ({ name, type: "i16" });
export const i32 = (name: string): Field => ({ name, type: "i32" });
export const i64 = (name: string): Field => ({ name, type: "i64" });
export const text = (name: string): Field => ({ name, type: "string" });
export const keyed = (name: string): Field => ({ name, type: "keyed" });
export const body = (name: string): Field => ({ name, type: "body" });
export const data = (name: string): Field => ({ name, type: "data" });
export const content = (name: string): Field => ({ name, type: "content" });

export const optional = (name: string, ...fields: Field[]): Field => ({
	name,
	type: "optional",
	fields,
});

export const list = (name: string, ...fields: Field[]): Field => ({
	name,
	type: "list",
	count: "i32",
	fields,
});

/** A list with a 2-byte count. */
export const shortList = (name: string, ...fields: Field[]): Field => ({
	name,
	type: "list",
	count: "i16",
	fields,
});

/** A list that is a breach of the format if it claims more entries than `most`. */
export const listOfAtMost = (name: string, most: number, ...fields: Field[]): Field => ({
	name,
	type: "list",
	count: "i32",
	fields,
	most,
});

/** A list whose entries are passed over: `bytes` bytes each. */
export const opaqueList = (name: string, bytes: number): Field => ({
	name,
	type: "list",
	count: "i32",
	fields: [],
	bytes,
});

/** A list that is absent where all the fields in `singles`, read before, are above 0. */
export const listUnless = (
	singles: readonly string[],
	name: string,
	...fields: Field[]
): Field => ({
	name,
	type: "list",
	count: "i32",
	fields,
	unless: singles,
});

/** The field, in records of version 1.`minor` and later only. */
export const since = (minor: number, field: Field): Field => ({ ...field, since: minor });

/** The field, in records older than version 1.`minor` only. */
export const before = (minor: number, field: Field): Field => ({ ...field, before: minor });
