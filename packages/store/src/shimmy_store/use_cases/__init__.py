"""What the store does, one public function a module."""
