/**
 * Outlives the test that started it and cleans up behind it: its standard input is a pipe whose other
 * end only the test holds, so the end of the input is the end of the test, however it died.
 * Arguments: directory of the pair, then marker and directory of each host.
 */
import { sweep } from "./processes.ts";

const [directory = "", ...words] = process.argv.slice(2);
const hosts: { marker: string; directory: string }[] = [];
for (let i = 0; i + 1 < words.length; i += 2)
	hosts.push({ marker: words[i] ?? "", directory: words[i + 1] ?? "" });

process.on("SIGINT", () => {}); // Ctrl-C reaches the whole group of the terminal
process.on("SIGTERM", () => {});
process.stdin.on("end", () => {
	sweep(directory, hosts);
	process.exit();
});
process.stdin.resume();
