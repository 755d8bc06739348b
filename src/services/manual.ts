import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { getAsset, isSea } from "node:sea";
import { type Pages, typable } from "../formats/manual.ts";
import { programPath } from "./own-path.ts";

/** The pages that the program carries; bin/dev/build.ts puts them into it. */
export const manualPages = [
	"errors",
	"runbooks",
	"commands",
	"settings",
	"ldap",
	"security",
	"readme",
] as const;

/** Where a page lies in the source. */
export const manualFile = (page: (typeof manualPages)[number]): string =>
	page === "readme" ? "README.md" : `docs/${page}.md`;

/** The licences of all that the executable contains, made by bin/dev/build.ts. */
export const noticesAsset = "notices.txt";

export async function readManual(): Promise<Pages> {
	const pages = new Map<string, string>();
	for (const page of manualPages) {
		const file = manualFile(page);
		pages.set(page, isSea() ? getAsset(file, "utf8") : await readFile(inSource(file), "utf8"));
	}
	return pages;
}

/** From source the packages lie beside it, each with its own licence. */
export const readNotices = async (): Promise<string> =>
	isSea() ? getAsset(noticesAsset, "utf8") : await readFile(inSource("LICENSE"), "utf8");

const inSource = (file: string): string => join(import.meta.dirname, "../..", file);

/** Path of live-syncd on this server; sync-commands lies beside it. */
export function liveSyncdPath(): string {
	const own = programPath();
	return join(dirname(own), basename(own).replace(/^sync[_-]commands/, "live-syncd"));
}

/** A hint with what can be typed on this server: see {@link typable}. */
export const onServer = (hint: string): string => typable(hint, liveSyncdPath());
