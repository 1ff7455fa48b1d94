print("bill later")
