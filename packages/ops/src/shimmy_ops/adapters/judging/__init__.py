"""What a release is judged by: known holes, licences, revisions, reports of tests."""
