"""The sequence modality: time series from arrays, tables, HDF5 and the archives' formats."""
