"""Pure decisions and measurements: values in, values out, no I/O, no clock."""
