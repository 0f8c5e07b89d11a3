import { ForeignInstallation, type Installation, InstallationRestored, type Owner } from '../bus.ts';

export class MemoryOwner implements Owner {
  #current: Installation | null = null;

  get current(): Installation | null {
    return this.#current;
  }

  get seen(): number {
    return this.#current?.epoch ?? 0;
  }

  async held(): Promise<Installation | null> {
    return this.#current;
  }

  async claim(own: Installation): Promise<void> {
    const { id, epoch } = this.#current ?? own;
    if (id !== own.id) {
      throw new ForeignInstallation(
        `this process works for installation ${id}, but the database belongs to ${own.id}`,
      );
    }
    if (epoch > own.epoch) {
      throw new InstallationRestored(
        `the bus has seen epoch ${epoch}, but the database has epoch ${own.epoch}`,
      );
    }
    this.#current = { ...own };
  }
}
