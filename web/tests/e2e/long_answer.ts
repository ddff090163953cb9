// An answer of about 4,000 tokens with everything that answers have: headings, paragraphs, lists, tables, code, formulas.

const SECTION = (n: number) => `## Part ${n}

In part ${n} the picture is read from left to right. Every object has a **name**, a *colour* and a place, and what was said
about one of them is not said again about the next. The area of box ${n} is $w_{${n}} \\cdot h_{${n}}$, in thousandths.

- the first object of part ${n} lies on the left
- the second one lies on the right, near the border
  - its shadow belongs to it
- the third one cannot be seen

| object | count | share |
| --- | ---: | ---: |
| stars | ${n} | ${n * 3} % |
| ovals | ${n + 1} | ${n * 2} % |

\`\`\`python
def part_${n}(objects):
    return [o for o in objects if o.part == ${n} and o.visible]
\`\`\`

> What is quoted here was printed in the picture itself.

`;

export const LONG_ANSWER =
  Array.from({ length: 24 }, (_, index) => SECTION(index + 1)).join('') + 'The last sentence of a long answer.';
