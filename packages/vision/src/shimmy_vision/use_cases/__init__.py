"""What a user can ask for: one module and one public function each."""
