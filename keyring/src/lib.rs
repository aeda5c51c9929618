//! Keys, the cells they encrypt, and the KEKs that wrap them; knows no database
