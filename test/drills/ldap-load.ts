import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Directory } from "../loops/ldap/support.ts";
import type { Entry } from "../pair/store/accounts.ts";

/**
 * Numbered changes, one after the other over one connection, so that the directory's state after
 * change n is known for every n: any copy must be exactly one of these states.
 *
 * Most set a title on one of the entries in turn; every tenth adds an entry, and every tenth removes
 * one that was added before, so that pages are freed and used again.
 */
const turns = 500;
const lifetime = 2000;
const people = "ou=people,dc=example,dc=net";

export class LdapLoad implements AsyncDisposable {
	readonly #child: ChildProcess;
	#sent = 0;
	#done = 0;
	#ending = false;
	readonly #running: Promise<void>;

	/** @param perSecond at most so many; what slapd can do may be less */
	constructor(directory: Directory, perSecond: number) {
		const words = [...directory.words, "-v"];
		this.#child = spawn("ldapmodify", words, { stdio: ["pipe", "pipe", "inherit"] });
		// -v says "modify complete" for each.
		createInterface({ input: this.#child.stdout as Readable }).on("line", (line) => {
			if (line.includes("complete")) this.#done += 1;
		});
		this.#running = this.#feed(perSecond);
	}

	/** Changes that slapd was given; no copy may hold a later one. */
	get sent(): number {
		return this.#sent;
	}

	async #feed(perSecond: number): Promise<void> {
		const began = performance.now();
		while (!this.#ending) {
			const wanted = Math.floor(((performance.now() - began) * perSecond) / 1000);
			// Not far ahead of what is done: the number of the newest state must stay near the truth.
			while (this.#sent < wanted && this.#sent - this.#done < 200) {
				this.#sent += 1;
				this.#child.stdin?.write(changeLdif(this.#sent));
			}
			await sleep(5);
		}
	}

	async [Symbol.asyncDispose](): Promise<void> {
		if (this.#ending) return;
		this.#ending = true;
		await this.#running;
		const ended = new Promise((resolve) => this.#child.once("exit", resolve));
		this.#child.stdin?.end();
		await ended;
	}
}

function changeLdif(number: number): string {
	if (number % 10 === 0) {
		const name = `extra${number}`;
		return [
			`dn: uid=${name},${people}`,
			"changetype: add",
			"objectClass: inetOrgPerson",
			...["uid", "cn", "sn"].map((each) => `${each}: ${name}`),
			`description: ${"more text ".repeat((number % 7) * 60)}.`,
			"\n",
		].join("\n");
	}
	if (number % 10 === 5 && number > lifetime) {
		return `dn: uid=extra${number - 5 - lifetime + 10},${people}\nchangetype: delete\n\n`;
	}
	return `dn: uid=bulk${number % turns},${people}\nchangetype: modify\nreplace: title\ntitle: ${number}\n\n`;
}

/** What a directory must say after change n. */
export function stateAfter(n: number): { titles: Map<string, number>; extras: Set<string> } {
	const titles = new Map<string, number>();
	const extras = new Set<string>();
	for (let number = 1; number <= n; number++) {
		if (number % 10 === 0) extras.add(`extra${number}`);
		else if (number % 10 === 5 && number > lifetime) {
			extras.delete(`extra${number - 5 - lifetime + 10}`);
		} else titles.set(`bulk${number % turns}`, number);
	}
	return { titles, extras };
}

/**
 * The number of the state that these entries are; throws where they are none that ever was.
 */
export function whichState(entries: readonly Entry[]): number {
	const titles = new Map<string, number>();
	const extras = new Set<string>();
	for (const entry of entries) {
		const name = entry["uid"]?.[0] ?? "";
		const title = entry["title"]?.[0];
		if (name.startsWith("extra")) extras.add(name);
		else if (title !== undefined) titles.set(name, Number(title));
	}
	const newest = Math.max(
		0,
		...titles.values(),
		...[...extras].map((name) => Number(name.slice("extra".length))),
	);
	// The last change may have been one that removed an entry, which names no number.
	for (const n of [newest, newest + 1]) if (isState(n, titles, extras)) return n;
	throw new Error(
		`torn: the newest change is ${newest}, but ${titles.size} titles and ${extras.size} added entries are not what the directory was after it`,
	);
}

function isState(n: number, titles: Map<string, number>, extras: Set<string>): boolean {
	const wanted = stateAfter(n);
	return (
		wanted.titles.size === titles.size &&
		wanted.extras.size === extras.size &&
		[...wanted.titles].every(([name, title]) => titles.get(name) === title) &&
		[...wanted.extras].every((name) => extras.has(name))
	);
}
