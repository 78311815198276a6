"""Corpora, one file each: `read(config, base) -> Iterator[Source | Refusal]`.

`config` is the recipe's entry, `base` the folder its paths are relative to. A reader says what the corpus claims and
opens no video: `sha256`, duration, rate and size of its Sources are left empty, ingest fills them in. `root` is the
folder that no path may leave, `uri` the path below it. Adding a corpus: a file here whose docstring describes corpus
and licence, and a line in `curation.ingest.KINDS`; or `kind: package.module:function` in a recipe.
"""
