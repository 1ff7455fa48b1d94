"""What a release is judged by: known holes, licences, and what the tests said."""
