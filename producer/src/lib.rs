//! Takes rotations in; knows no key
