"""Files in and out: PDB and mmCIF, read, edited and written byte for byte; BinaryCIF, read only."""
