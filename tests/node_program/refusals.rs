//! What the program will not do, and that it says which path and why.
