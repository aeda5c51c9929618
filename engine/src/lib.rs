//! plan, re-encrypt, prove, clear; knows no queue
