//! Publishing: steps, races, layout of files, and a model with faults.

mod fixture;
mod layout_of_files;
mod model;
mod race;
mod steps;
