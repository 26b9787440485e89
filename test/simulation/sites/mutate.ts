/** Given to node with --import: what is loaded afterwards is mutated. */
import { register } from 'node:module';

register('./mutation-hooks.js', import.meta.url);
