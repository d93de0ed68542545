"""Sections of the HTML report: one file each, found by name, so that a study adds its own by adding a file.

A section file says PLACE (sections stand in this order: answers 0, what there is 100, findings 200, contrasts 300,
a study's own tables and figures 700 to 799, explorer 800, cost 900, provenance 1000), TITLE, and

    def section(page: Page) -> Iterator[Markup]

which yields blocks made by `page` (text, bound numbers, tables, figures), or nothing where it has nothing to say.
Files whose name begins with "_" are no sections.
"""
