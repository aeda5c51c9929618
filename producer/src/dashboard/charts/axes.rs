//! Readable ticks: speeds by 1, 2 or 5 times a power of ten, times by what clocks count in.
