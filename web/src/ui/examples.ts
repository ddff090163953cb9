// Example pictures with one question per task, in both languages; all of them from glimpse-mini's own samples, so the
// demonstration model can answer them, and any larger model too.

import advise from '../../../models/glimpse-mini/samples/16_diet.png';
import chart from '../../../models/glimpse-mini/samples/12_chart_list.png';
import compareA from '../../../models/glimpse-mini/samples/13_comparea.png';
import compareB from '../../../models/glimpse-mini/samples/13_compareb.png';
import count from '../../../models/glimpse-mini/samples/05_count.png';
import describe from '../../../models/glimpse-mini/samples/03_describe.png';
import find from '../../../models/glimpse-mini/samples/06_where.png';
import read from '../../../models/glimpse-mini/samples/07_ocr.png';
import tap from '../../../models/glimpse-mini/samples/19_apps.png';

export type ExampleName = 'describe' | 'count' | 'read' | 'chart' | 'compare' | 'find' | 'tap' | 'advise';

export interface Example {
  name: ExampleName;
  pictures: string[];
}

export const examples: Example[] = [
  { name: 'describe', pictures: [describe] },
  { name: 'count', pictures: [count] },
  { name: 'read', pictures: [read] },
  { name: 'chart', pictures: [chart] },
  { name: 'compare', pictures: [compareA, compareB] },
  { name: 'find', pictures: [find] },
  { name: 'tap', pictures: [tap] },
  { name: 'advise', pictures: [advise] },
];

export async function load(example: Example): Promise<File[]> {
  return Promise.all(
    example.pictures.map(async (url, index) => {
      const blob = await (await fetch(url)).blob();
      const suffix = example.pictures.length > 1 ? `-${index + 1}` : '';
      return new File([blob], `${example.name}${suffix}.png`, { type: 'image/png' });
    }),
  );
}
