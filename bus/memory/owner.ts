import { ForeignInstallation, type Installation, InstallationRestored, type Owner } from '../bus.ts';

export class MemoryOwner implements Owner {
  #current: Installation | null = null;

  get current(): Installation | null {
    return this.#current;
  }

  async held(): Promise<Installation | null> {
    return this.#current;
  }

  async claim(own: Installation): Promise<void> {
    const { id, epoch } = this.#current ?? own;
    if (id !== own.id) {
      throw new ForeignInstallation(
        `this process works for installation ${id}, and the database is ${own.id}`,
      );
    }
    if (epoch > own.epoch) {
      throw new InstallationRestored(`epoch ${epoch} was seen, and the database is of epoch ${own.epoch}`);
    }
    this.#current = { ...own };
  }
}
