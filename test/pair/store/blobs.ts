import {
	closeSync,
	existsSync,
	fsyncSync,
	linkSync,
	mkdirSync,
	openSync,
	renameSync,
	rmSync,
	writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

/**
 * Files of messages, named as com.zimbra.cs.store.file.FileBlobStore names them: by mailbox, item and
 * the change that made the content, so that replay on a copy gives the same names.
 */
export class Blobs {
	readonly #home: string;

	constructor(zimbraHome: string) {
		this.#home = zimbraHome;
	}

	/** Relative to zimbra_home. */
	static pathOf(mailbox: number, item: number, content: number): string {
		return `store/0/${mailbox >> 12}/${mailbox}/msg/${item >> 12}/${item}-${content}.msg`;
	}

	/** Writes a file to store/incoming, fsynced, and returns its absolute path. */
	incoming(name: string, data: Uint8Array): string {
		const path = join(this.#home, "store/incoming", name);
		mkdirSync(dirname(path), { recursive: true });
		const fd = openSync(path, "w", 0o640);
		writeSync(fd, data);
		fsyncSync(fd);
		closeSync(fd);
		return path;
	}

	/** A second name for a file. What is there already goes aside as `.bak`: FileBlobStore.link. */
	link(source: string, target: string): void {
		const path = join(this.#home, target);
		mkdirSync(dirname(path), { recursive: true });
		if (existsSync(path)) renameSync(path, `${path}.bak`);
		linkSync(source, path);
	}

	absolute(path: string): string {
		return join(this.#home, path);
	}

	remove(path: string): void {
		rmSync(path.startsWith("/") ? path : join(this.#home, path), { force: true });
	}
}
