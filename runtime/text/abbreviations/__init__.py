"""What written abbreviations stand for, and whether a sentence may end with one: one TOML file a
language, beside this.

The splitter (`text/split.py`) and the text front end (`text/normalize`) both ask here. A key is an
abbreviation without blanks and without its last full stop: `dr`, `e.g`, `ee.uu`. In lower case it
stands for every spelling of it, with a capital for itself alone. Its value is how it is read; empty
where others read it or it is read as written. Tables say where it stands:

- `before`: before what it belongs to, so no sentence ends with it. `dr = "doctor / drive"`: before
  a name, after one.
- `inside`: anywhere; a sentence ends with it if one of the `starters` follows with a capital: words
  that begin sentences and are no names.
- `last`: at the end of a list or of a time; a sentence ends with it if a capital follows, unless by
  a word of `continues`.
- `number`: an abbreviation only before a number, because it is a word as well: no. 5, art. 3.
- `after_number`: one only after a number: 1990 г.
- `name`: one only before a name: M. Dupont. A word as well, if it has several letters: then a
  starter is no name.

All in capitals it is an acronym (BP, ING), but for a few (DR), and where everything around is in
capitals.

`undotted` are also written without a full stop, as they stand in the list. `measures` are left
alone after a number, where times and units are read. `suffixes`: keys that compounds end in:
Hauptstr. `particles`: small words that follow those before a name. `letters`: how a script without
capitals writes the letters of initials. `trained`: readings that XTTS v2 learnt instead.
"""

from voxturn.runtime.text.abbreviations.reading import written_out
from voxturn.runtime.text.abbreviations.table import Abbreviations, Following, abbreviations

__all__ = ["Abbreviations", "Following", "abbreviations", "written_out"]
