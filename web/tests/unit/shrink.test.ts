import { describe, expect, test } from 'vitest';
import { modelScale, planShrink, UploadSpeed, type ShrinkInput } from '../../src/picture/shrink';

const MB = 1024 * 1024;
const photo: ShrinkInput = {
  bytes: 6 * MB,
  width: 4000,
  height: 3000,
  maxBytes: 20 * MB,
  bytesPerMs: null,
  maxPixels: 4_000_000 / 4, // the model looks at one megapixel
};

describe('whether a picture is shrunk', () => {
  test('not without a reason', () => {
    expect(planShrink(photo)).toBeNull(); // within the limit, speed unknown
    expect(planShrink({ ...photo, bytesPerMs: 100_000 })).toBeNull(); // 63 ms
    expect(planShrink({ ...photo, bytesPerMs: (6 * MB) / 300 })).toBeNull(); // just 300 ms
  });
  test('when sending would take more than 300 ms', () => {
    const plan = planShrink({ ...photo, bytesPerMs: 10_000 })!; // 629 ms
    expect(plan.reason).toBe('slow');
    expect(plan.width).toBeLessThan(4000);
    expect(plan.width / plan.height).toBeCloseTo(4 / 3, 2);
    expect((plan.width * plan.height) / (4000 * 3000)).toBeLessThanOrEqual((300 * 10_000) / (6 * MB));
  });
  test('when it is larger than the server takes', () => {
    expect(planShrink({ ...photo, maxBytes: 2 * MB })!.reason).toBe('limit');
  });
  test('never below twice the model’s size per side', () => {
    const plan = planShrink({ ...photo, bytesPerMs: 1 })!;
    const model = modelScale(photo.width, photo.height, photo.maxPixels!);
    expect(plan.width).toBeGreaterThanOrEqual(2 * model * photo.width);
    expect(plan.height).toBeGreaterThanOrEqual(2 * model * photo.height);
  });
  test('not when it is already that small, however slow the line', () => {
    expect(planShrink({ ...photo, width: 1500, height: 1000, bytesPerMs: 1 })).toBeNull();
    expect(planShrink({ ...photo, width: 1500, height: 1000, maxBytes: 1 })).toBeNull();
  });
  test('not while the model’s size is unknown', () => {
    expect(planShrink({ ...photo, maxPixels: null, bytesPerMs: 1 })).toBeNull();
  });
});

describe('the measured speed', () => {
  test('comes from pictures large enough to tell, newer ones count more', () => {
    const speed = new UploadSpeed();
    speed.measured(1000, 1);
    expect(speed.bytesPerMs).toBeNull();
    speed.measured(100_000, 10);
    expect(speed.bytesPerMs).toBe(10_000);
    speed.measured(100_000, 50);
    expect(speed.bytesPerMs).toBe(6_000);
    speed.measured(100_000, 0);
    expect(speed.bytesPerMs).toBe(6_000);
  });
});
