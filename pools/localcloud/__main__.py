from pools.localcloud.main import main

if __name__ == "__main__":
    main()
