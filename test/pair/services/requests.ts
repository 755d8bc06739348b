import type { Values } from "../redo/fields.ts";
import type { CrashPoint } from "./crash-points.ts";

/** What a test may ask of mailboxd. */
export type MailboxRequest =
	| ({ readonly do: "deliver" } & DeliverRequest)
	| { readonly do: "createFolder"; mailbox: string; name: string; parent?: number | undefined }
	| { readonly do: "copy"; mailbox: string; items: readonly number[]; folder: number }
	| { readonly do: "item"; mailbox: string; opcode: number; fields: Values }
	| { readonly do: "rollover" | "position" }
	| { readonly do: "held"; hold: string }
	| { readonly do: "release"; hold: string; commit: boolean }
	| { readonly do: "arm"; point: CrashPoint | undefined };

export type DeliverRequest = {
	/** addresses; more than one share a StoreIncomingBlob record */
	readonly to: readonly string[];
	/** bytes of a generated mail; 1,000 unless told */
	readonly size?: number;
	/** the mail itself, instead of a generated one */
	readonly text?: string;
	/** inbox unless told */
	readonly folder?: number;
	/** an existing conversation, or a new one */
	readonly conversation?: number | "new";
	/** rolled back after the change record was logged */
	readonly abort?: boolean;
	/** stays open after the change record until released by this name */
	readonly hold?: string;
	/** with several recipients: forces a rollover before the link of this one (0 is the first) */
	readonly rolloverBefore?: number;
};

/** An operation whose end is written, as the client that asked for it is told. */
export type Committed = {
	readonly transaction: string;
	readonly opcode: number;
	readonly mailboxId: number;
	/** the first item it made */
	readonly item?: number;
	readonly aborted?: boolean;
};
