/**
 * First in, first out, without moving elements: an array and a head index, compacted now and then.
 */
export class Queue<Item> {
  /** A place that was taken is cleared: what stood there may be megabytes of payload. */
  #items: (Item | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  /** The oldest item, left where it is. */
  peek(): Item | undefined {
    return this.#items[this.#head];
  }

  /** The newest item. */
  last(): Item | undefined {
    return this.length === 0 ? undefined : this.#items[this.#items.length - 1];
  }

  at(index: number): Item | undefined {
    return this.#items[this.#head + index];
  }

  shift(): Item | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    } else if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    }
    return item;
  }

  pop(): Item | undefined {
    if (this.length === 0) return undefined;
    return this.#items.pop();
  }

  /** Takes everything out, oldest first. */
  drain(): Item[] {
    const items = [...this];
    this.#items = [];
    this.#head = 0;
    return items;
  }

  *[Symbol.iterator](): IterableIterator<Item> {
    for (let index = this.#head; index < this.#items.length; index++) {
      const item = this.#items[index];
      if (item !== undefined) yield item;
    }
  }
}
