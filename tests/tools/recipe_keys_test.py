#!/usr/bin/env python3
"""docs/recipe-keys.md is what `igebm train --keys` prints, and has every key that the project's recipes use."""
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "recipe-keys.md"


def igebm(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)


def sections():
    """Section name -> rows of cells, subsections with their section."""
    found, section = {}, None
    for line in PAGE.read_text().splitlines():
        if heading := re.match(r"## `\[(.+)\]`", line):
            section = found.setdefault(heading[1], [])
        elif section is not None and line.startswith("| `"):
            section.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def used(table, path=()):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from used(value, (*path, "NAME" if path == ("phase",) else key))
        else:
            yield ".".join(path), key


class RecipeKeys(unittest.TestCase):
    def test_the_page_is_what_the_program_prints(self):
        run = igebm("train", "--keys")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(run.stdout, PAGE.read_text(),
                         "the page is old: build/release/igebm train --keys > docs/recipe-keys.md")

    def test_keys_of_all_recipes_are_there(self):
        known = {(name, row[0].strip("`")) for name, rows in sections().items() for row in rows}
        recipes = sorted((ROOT / "recipes").glob("*.toml"))
        self.assertGreater(len(recipes), 20)
        for recipe in recipes:
            for section, key in used(tomllib.loads(recipe.read_text())):
                if (section, key) != ("", "extends"):
                    self.assertIn((section, key), known, recipe.name)

    def test_every_key_has_a_type_a_default_and_a_meaning(self):
        for section, rows in sections().items():
            self.assertTrue(rows, section)
            for row in rows:
                self.assertEqual(len(row), 5, row)
                for cell in (row[0], row[1], row[2], row[4]):
                    self.assertNotIn(cell, ("", "``"), f"{section}: {row}")

    def test_defaults_ranges_and_choices(self):
        rows = {(name, row[0].strip("`")): row for name, found in sections().items() for row in found}
        self.assertEqual(rows["phase.NAME", "batch"][1:4], ["integer", "`64`", "[1, 1000000000]"])
        self.assertEqual(rows["phase.NAME.optimizer", "beta2"][2:4], ["`0.999`", "[0, 1)"])
        self.assertEqual(rows["phase.NAME.contrastive_divergence", "form"][3],
                         '`"linear"`, `"logsumexp"`, `"softplus"`')
        self.assertEqual(rows["phase.NAME.contrastive_divergence", "gradient_clip"][2:4], ["`inf`", "> 0"])
        self.assertIn(("network", "widths"), rows)  # of a kind that is not the default
        self.assertIn(("sampling", "levels"), rows)  # of networks with noise levels

    def test_it_goes_alone(self):
        run = igebm("train", "--keys", str(ROOT / "recipes" / "two-moons.toml"))
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("--keys goes alone", run.stderr)


if __name__ == "__main__":
    unittest.main()
